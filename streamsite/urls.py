from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from streamsite.site import account
from streamsite.site.api_root import api, first

handler500 = "streamsite.http.error_pages.page_of_error"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("", include("streams.urls")),
    path("", include("media_library.urls")),
    path("api/v1/", api.urls),
    path("admin/account/", account.account, name="account"),
    path("admin/account/end/", account.end_sessions, name="end-sessions"),
    path("admin/sessions/", account.all_sessions, name="sessions"),
    path("admin/", admin.site.urls),
    # Last, for it stands at the root: the compatibility paths.
    path("", first.urls),
]
