from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from streamsite.site import account, second_factor
from streamsite.site.api_root import api, first

# First, for what follows names the admin's pages.
admin.autodiscover()

handler500 = "streamsite.http.error_pages.page_of_error"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("", include("streams.urls")),
    path("", include("media_library.urls")),
    path("api/v1/", api.urls),
    path("admin/login/", second_factor.Login.as_view(), name="login"),
    path("admin/login/second-factor/", second_factor.second_factor, name="second-factor"),
    path("admin/login/passkey/", second_factor.passkey_login, name="passkey-login"),
    path("admin/password_change/", account.change_password),
    path("admin/account/set-up/", second_factor.set_up, name="set-up-factor"),
    path("admin/account/passkeys/", second_factor.add_passkey, name="add-passkey"),
    path("admin/account/codes/", second_factor.recovery_codes, name="new-recovery-codes"),
    path("admin/account/remove/", second_factor.remove, name="remove-factor"),
    path("admin/account/", account.account, name="account"),
    path("admin/account/end/", account.end_sessions, name="end-sessions"),
    path("admin/sessions/", account.all_sessions, name="sessions"),
    path("admin/", admin.site.urls),
    # Last, for it stands at the root: the compatibility paths.
    path("", first.urls),
]
