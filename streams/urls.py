from django.urls import path, re_path

from streams import views
from streams.control.commands import ORDERS
from streams.views import calendar, platforms, room, status, uptime
from streams.views.metrics import metrics

urlpatterns = [
    path("health", views.health, name="health"),
    path("health/", views.health),
    path("metrics", metrics, name="metrics"),
    # Below /admin/monitor/, so that the sidebar highlights one entry only.
    path("admin/monitor/<slug:slug>/", views.monitor, name="monitor"),
    path("admin/drills/<slug:slug>/", views.drills, name="drills"),
    path("admin/calendar/<slug:slug>/", calendar.page, name="calendar"),
    path("admin/calendar/<slug:slug>/preview/", calendar.coming, name="calendar-preview"),
    path("admin/calendar/<slug:slug>/why/", calendar.why, name="calendar-why"),
    path("channels/<slug:slug>/guide.xml", views.xmltv, name="guide"),
    path("channels/<slug:slug>/now.json", views.now_next, name="now-next"),
    path("channels/<slug:slug>/status", status.page, name="public-status"),
    path("channels/<slug:slug>/status.json", status.data, name="public-status-json"),
    path("admin/uptime/", uptime.index, name="uptime"),
    path("admin/uptime/<slug:slug>/", uptime.channel, name="uptime-channel"),
    path("admin/uptime/<slug:slug>/print", uptime.printed, name="uptime-print"),
    path("admin/uptime/<slug:slug>/<str:what>.csv", uptime.exported, name="uptime-csv"),
    path("admin/wall/", room.wall, name="wall"),
    path("admin/wall/strips", room.strips, name="room-strips"),
    path("admin/as-run.csv", views.as_run_csv, name="as-run-csv"),
    path("channels/<slug:slug>/panels", views.panels, name="channel-panels"),
    re_path(
        rf"^channels/(?P<slug>[-\w]+)/(?P<verb>{'|'.join(ORDERS)})/$", views.order, name="order"
    ),
    path("admin/platforms/<int:pk>/", platforms.connection, name="platform-connection"),
    path("admin/platforms/back/", platforms.back, name="platform-back"),
    path("admin/watch-hours/", platforms.watch_hours, name="watch-hours"),
    path("admin/live/", views.live_streams, name="live-streams"),
    path("admin/live/broadcasters/<int:pk>/mint/", views.mint_key, name="mint-key"),
    path("admin/live/keys/<int:pk>/revoke/", views.revoke_key, name="revoke-key"),
]
